"""What every screen has: its frame, status line, key line, help, jump, palette, notices and copying."""
