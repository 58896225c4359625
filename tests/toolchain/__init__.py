"""The from-packages parts on their own."""
