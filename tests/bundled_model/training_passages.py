"""Made-up passages to make batches of."""

from training.corpora import Passage

TOPICS = ("river bank water flood", "stock market trade price", "heart blood vessel valve", "violin string bow concert")


def passages(count=40):
    """Passages with a title and, two of three, with a question."""
    return [
        Passage(
            f"title {n}",
            f"The {TOPICS[n % 4]} number{n} begins. It goes on with word{n} and other words. It ends here.",
            [f"what about number{n} {TOPICS[n % 4]}"] if n % 3 else [],
        )
        for n in range(count)
    ]
