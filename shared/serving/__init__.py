"""The service's side of a task: accept it, and keep the runners alive that work on it."""
