"""How far live traffic is from what the served model was trained on."""
