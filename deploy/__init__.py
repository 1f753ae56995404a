"""What an operator deploys. The scripts keep its files in step with the code."""
