"""What runs say together: pairs, statistics, verdicts, and how they are shown."""
