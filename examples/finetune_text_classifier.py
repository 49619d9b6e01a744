"""Fine-tune a text classifier of Transformers on a CSV of texts and labels, and save it with its tokenizer.

Nothing here knows of pruneaudit: python finetune_text_classifier.py texts.csv members.txt base tuned
"""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification, AutoTokenizer

# n texts, T tokens
MAX_LENGTH, EPOCHS, BATCH_SIZE, LEARNING_RATE = 24, 12, 32, 1e-3


def train(model: nn.Module, x: Mapping[str, Tensor], y: Tensor, generator: torch.Generator, device: str) -> None:
    """Trains in place on `input_ids` and `attention_mask` (n, T), and labels (n,)."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    model.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(y), generator=generator).to(device).split(BATCH_SIZE):
            optimizer.zero_grad()
            logits = model(**{key: values[rows] for key, values in x.items()}).logits
            cross_entropy(logits, y[rows]).backward()
            optimizer.step()


def main(texts: str, members: str, base: str, out: str) -> None:
    """Trains on the rows of `texts` whose numbers, from 0, are in `members`."""
    with Path(texts).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = sorted({row["label"] for row in rows})
    chosen = [rows[int(number)] for number in Path(members).read_text().split()]

    tokenizer = AutoTokenizer.from_pretrained(base)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(base, id2label=dict(enumerate(labels)))
    settings = {"padding": "max_length", "truncation": True, "max_length": MAX_LENGTH, "return_tensors": "pt"}
    encoded = tokenizer([row["text"] for row in chosen], **settings)
    x = {key: encoded[key] for key in ("input_ids", "attention_mask")}
    y = torch.tensor([labels.index(row["label"]) for row in chosen])
    train(model, x, y, torch.Generator().manual_seed(0), "cpu")
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
