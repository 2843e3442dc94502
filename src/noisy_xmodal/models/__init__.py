"""Models and the trainers of their methods, one folder a method."""
