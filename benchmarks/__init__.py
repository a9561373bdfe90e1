"""What ganfast costs, against what a user would write instead. README.md tells how to run it."""
