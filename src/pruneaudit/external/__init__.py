"""Networks that users bring and take away; torch is imported when networks are."""
