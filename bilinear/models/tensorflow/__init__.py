"""What the networks of `models.keras` need of TensorFlow, AdamW and exports."""
