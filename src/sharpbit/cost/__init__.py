"""What a network costs, counted from outside: no network knows that it is counted."""
