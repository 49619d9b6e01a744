"""Checks that a study's texts have the token ids that the network in a folder was trained with.

A network runs with the ids of another tokenizer too, but reads other words. So the tokenizer in its folder, if any,
encodes some texts of the study again.
"""

from __future__ import annotations

from pathlib import Path

from pruneaudit.core.errors import UserError
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.tokenizing import FILE, decoded, encoded, read_tokenizer

NUM_TRIED = 64
"""Texts that are encoded again."""
_SHOWN = 40
"""Letters of a text in a message."""


def check_same_tokens(audit_data: AuditData, folder: Path) -> None:
    """Refuses texts whose ids the tokenizer in a network's folder would not give.

    Passes without a tokenizer in the folder, and if the ids came from the user, because nothing is known then.

    Args:
        audit_data: of the study.
        folder: of the network.

    Raises:
        UserError: the ids are others.
    """
    if not audit_data.tokenizer or audit_data.lengths is None or not (folder / FILE).is_file():
        return
    rows = zip(audit_data.x[:NUM_TRIED], audit_data.lengths[:NUM_TRIED], strict=True)
    texts = decoded(audit_data.tokenizer, [ids[:length].tolist() for ids, length in rows])
    theirs = read_tokenizer(folder)
    pairs = zip(texts, encoded(audit_data.tokenizer, texts), encoded(theirs.json, texts), strict=True)
    for text, ours, wanted in pairs:
        if ours != wanted:
            raise UserError(
                f"data.source: its tokenizer gives other ids than the tokenizer of the network in {folder}, such as "
                f"{ours[:4]}"
                f" for '{text[:_SHOWN]}', expected {wanted[:4]}; give the option tokenizer = '{folder}' of the source"
            )
