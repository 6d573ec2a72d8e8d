"""What the business chooses: settings, rules, stages, policy, and the published contracts."""
