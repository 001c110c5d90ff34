"""`instructseg mcp`: a server of the Model Context Protocol, which gives language model agents the tool `segment`.

    agent -> server (MCPServer) -> PhotoFolder (which files) -> Segmenter -> description (words, numbers, overlay)

An agent starts the server and speaks with it over stdin and stdout.
"""
