"""Where the core meets other people's libraries. Each module is imported only by those who use its library."""
