"""The matching model that methods for image-caption pairs train."""
