"""Parts of every screen: frame, status line, key line, help, jump mode, palette, notices and copying."""
