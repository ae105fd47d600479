"""What people of ten countries write, invented: sentences with places for personal data, and sentences that hold none."""
