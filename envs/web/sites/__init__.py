"""Real web applications with their data: any WSGI or ASGI application becomes a place an agent works in."""
