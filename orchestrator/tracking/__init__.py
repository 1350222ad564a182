"""What comes back: app events, providers' callbacks, people's replies, and which members the runs brought back."""
