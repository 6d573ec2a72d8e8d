"""What is true: events, members, stages, rules and the one function that folds them. Pure."""
