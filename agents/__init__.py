"""What happens when a record arrives: thin agents, lanes, and the fast lane under them."""
