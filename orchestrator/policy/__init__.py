"""One answer from every rule at once: send, hold until T because R, or drop because R. No rule switches another off."""
