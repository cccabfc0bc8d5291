"""From photos to training batches: prepared crops, who is who, random changes, batches."""
