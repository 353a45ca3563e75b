"""Fine-tune a late-interaction model on a teacher's scores with PyLate, on a CPU; the other steps are commands.

    rank-rerank evaluate COLLECTION --split train --model TEACHER --runs taught --dump-training dump
    python examples/fine_tune.py MODEL dump/pylate tuned --steps 200
    rank-rerank export tuned tuned-onnx --int8 --texts texts.txt
    rank-rerank evaluate COLLECTION --split test --model MODEL --model tuned-onnx --report report.html

MODEL is a folder that PyLate reads, as `examples/bundled_model/unpack.py` writes of the bundled model. Each step takes
one query with its best documents by the teacher, and pulls the student's distribution over them to the teacher's. Needs
PyLate.
"""

import argparse
from pathlib import Path

import torch
from datasets import Dataset, disable_progress_bars
from pylate import losses, models, utils
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

SEED = 0


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("dump", type=Path, help="the folder pylate of --dump-training")
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--documents", type=int, default=8, help="of each query")
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    options = parser.parse_args()
    if options.output.exists():
        raise SystemExit(f"{options.output} exists already; name a folder that does not")
    fine_tune(options)
    print(options.output)


def fine_tune(options: argparse.Namespace) -> None:
    """Distil the teacher's scores into the model, and write it to a folder."""
    disable_progress_bars()
    torch.manual_seed(SEED)
    student = models.ColBERT(str(options.model), device="cpu")
    with_scores, queries, documents = (
        Dataset.from_json(str(options.dump / f"{name}.jsonl")) for name in ("train", "queries", "documents")
    )
    # a batch needs as many documents for each query
    train = with_scores.filter(lambda row: len(row["scores"]) >= options.documents)
    if not len(train):
        raise SystemExit(f"no query of {options.dump} has {options.documents} documents: lower --documents")
    train.set_transform(utils.KDProcessing(queries, documents, n_ways=options.documents).transform)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(options.output / "checkpoints"),
        max_steps=options.steps,
        per_device_train_batch_size=1,
        learning_rate=options.learning_rate,
        warmup_steps=options.steps // 10,
        seed=SEED,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        logging_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    SentenceTransformerTrainer(
        model=student,
        args=arguments,
        train_dataset=train,
        loss=losses.Distillation(model=student),
        data_collator=utils.ColBERTCollator(student.tokenize),
    ).train()
    student.save_pretrained(str(options.output))


if __name__ == "__main__":
    main()
