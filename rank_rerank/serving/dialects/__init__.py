"""What each client sends and reads: a file per dialect, all of them answered by one core."""
