"""Archon Workflows: durable workflows of MCP tool calls."""
