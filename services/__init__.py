"""The four services and the router. A service never imports another one."""
