"""What the agent and the host speak: the gRPC stubs (generated) and the tensor codec."""

PROTOCOL = 1  # Info.protocol: both sides must agree
