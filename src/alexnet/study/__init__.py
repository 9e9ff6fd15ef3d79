"""What runs say together: collecting results, paired statistics, the comparison table and its files."""
