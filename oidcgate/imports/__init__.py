"""
Other programs' configurations, read and written anew as ours.

Pure: text in, text out. ``oauth2_proxy.convert`` is the way in; ``flags*`` know every flag and what becomes of it.
"""
