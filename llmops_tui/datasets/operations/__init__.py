"""Operations: each makes a new version from others by a repeatable recipe."""
