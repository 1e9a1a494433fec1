"""What people run by hand, a module a tool."""
