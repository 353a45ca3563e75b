"""``python -m rank_rerank`` is the ``rank-rerank`` command."""

import sys

from rank_rerank.cli.main import main

sys.exit(main())
