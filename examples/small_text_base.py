"""Write what `finetune_text_classifier.py` needs where nothing can be downloaded: texts, members, and a small base.

The base is a BERT with random weights and a tokenizer of public texts; any folder of Transformers does as well.
python small_text_base.py texts.csv members.txt base
"""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

import pruneaudit

NUM_OWN, NUM_MEMBERS, LONGEST = 4000, 1500, 64
SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def tokenizer_of(texts: Sequence[str]) -> Tokenizer:
    """Byte-level BPE, which is the same in every run; [CLS] and [SEP] stand around a text."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = list(SPECIAL.values())
    trainer = trainers.BpeTrainer(vocab_size=1000, special_tokens=special, initial_alphabet=alphabet)
    made.train_from_iterator(texts, trainer)
    around = [("[CLS]", special.index("[CLS]")), ("[SEP]", special.index("[SEP]"))]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=around)
    return made


def main(texts: str, members: str, base: str) -> None:
    """Writes the files: the first texts are the owner's, the others are public."""
    source = pruneaudit.SOURCES.get("clinc150_6k")
    raw = source.load(source.Options(), None)
    rows = [(text, raw.classes[label]) for text, label in zip(raw.texts, raw.y, strict=True)]
    with Path(texts).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows[:NUM_OWN]])
    chosen = np.random.default_rng(0).choice(NUM_OWN, NUM_MEMBERS, replace=False)
    Path(members).write_text("\n".join(map(str, np.sort(chosen))) + "\n")
    tokenizer = tokenizer_of([text for text, _ in rows[NUM_OWN:]])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=LONGEST, **SPECIAL).save_pretrained(base)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    vocabulary = tokenizer.get_vocab_size()
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=vocabulary, max_position_embeddings=LONGEST, **sizes)).save_pretrained(base)


if __name__ == "__main__":
    main(*sys.argv[1:])
