"""From result tables to what people read: a self-contained HTML page and a terminal table."""
