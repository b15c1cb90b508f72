"""The fitjobs service: HTTP, store and queue; it never imports torch, numpy or worker."""
