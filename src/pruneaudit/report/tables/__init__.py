"""Tables of a report as plain data: numbers with intervals, and reasons for missing ones; layouts place them."""
