"""The paper's model: configuration, parts, processor and losses."""
