"""What the tests of the Supabase tenant share; the projects come from the plugin ``supabase_projects``."""
