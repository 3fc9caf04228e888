"""Does the time scale of a task say which initial exponent is good? Eleven tasks, thirty-two untrained networks at each."""
