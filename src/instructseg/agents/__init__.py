"""`instructseg mcp`: a server of the Model Context Protocol, which gives language model agents the tool `segment`.

    agent -> server (MCPServer) -> PhotoFolder (which files) -> Segmenter -> description (words, numbers, overlay)
"""
