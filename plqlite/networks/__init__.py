"""Face recognition networks behind one interface: features(images), then head(features)."""
