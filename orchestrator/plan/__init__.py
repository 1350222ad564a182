"""Campaign × audience × policy × experiment → members and messages."""
