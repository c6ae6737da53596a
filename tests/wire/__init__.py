"""The tests of what goes over the wire, request by request."""
