"""The parts of an audit: judging pairs by models that did not learn them, the report, cleaning."""
