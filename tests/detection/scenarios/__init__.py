"""The scenarios: application shapes that have to be flagged, and as many about which nothing may be said."""
