"""The parts of an audit: judging pairs by models, the report, cleaning."""
