"""What measures is tested here: loads as captures, statistics, promises, the gate."""
