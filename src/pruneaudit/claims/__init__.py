"""Published claims about compression and membership inference, judged on finished runs by a rule fixed in advance."""
