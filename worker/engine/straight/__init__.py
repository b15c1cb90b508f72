"""Makes one run of plain lines of functions that call each other; knows no rule and no engine."""
