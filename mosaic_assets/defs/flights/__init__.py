"""The example story: will a flight arrive 15 minutes late or more?"""
