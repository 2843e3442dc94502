"""The matching model that every pair method trains."""
